package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** Products on the host, in the order of operations that reproducible results have: what {@link Backend} does by default. */
public final class HostProducts {
    private HostProducts() {
    }

    static HostLinear weights(Backend device, Scope owner, Tensor weight, Optional<Tensor> steps, Optional<Tensor> bias) {
        return new HostLinear(weight.shape().size(1), weight.shape().size(0), uploaded(device, owner, weight),
                steps.map(s -> uploaded(device, owner, s)), bias.map(b -> uploaded(device, owner, b)));
    }

    private static View uploaded(Backend device, Scope owner, Tensor tensor) {
        View view = owner.floats(tensor.shape().toArray());
        device.upload(tensor, view);
        return view;
    }

    static void linear(Backend device, View x, Backend.Linear linear, View y) {
        HostLinear weights = HostLinear.of(linear, false);
        Checks.linear(x, linear, y);
        float[][] rows = new float[Math.toIntExact(x.elements() / weights.inputs())][weights.outputs()];
        FixedOrder.product(HostOperations.numbers(device, x), rows(device, weights.weights().transpose()), rows);
        if (weights.bias().isPresent()) {
            float[] bias = HostOperations.numbers(device, weights.bias().get());
            for (float[] row : rows) {
                FixedOrder.add(row, bias);
            }
        }
        write(device, rows, y);
    }

    static void linearBackward(Backend device, View dy, Backend.Linear linear, View dx) {
        HostLinear weights = HostLinear.of(linear, false);
        Checks.linear(dx, linear, dy);
        float[][] rows = new float[Math.toIntExact(dx.elements() / weights.inputs())][weights.inputs()];
        FixedOrder.product(HostOperations.numbers(device, dy), rows(device, weights.weights()), rows);
        write(device, rows, dx);
    }

    /** {@link Backend#matmul(View, View, View)}. */
    public static void matmul(Backend device, View a, View b, View c) {
        Checks.matmul(a, b, c);
        if (c.rank() > 2) {
            for (int i = 0; i < c.size(0); i++) {
                matmul(device, a.at(i), b.at(i), c.at(i));
            }
            return;
        }
        float[][] rows = new float[c.size(0)][c.size(1)];
        FixedOrder.product(HostOperations.numbers(device, a), rows(device, b), rows);
        write(device, rows, c);
    }

    static void linear(Backend device, View x, CodeGrid grid, Backend.Linear linear, View y) {
        HostLinear weights = HostLinear.of(linear, true);
        Checks.linear(x, grid, linear, y);
        float[] numbers = HostOperations.numbers(device, weights.weights());
        byte[] codes = new byte[numbers.length];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) numbers[i];
        }
        Codes rows = Codes.of(HostOperations.numbers(device, x), weights.inputs(), grid);
        float[] products = products(rows, codes, HostOperations.numbers(device, weights.steps().orElseThrow()), weights.inputs(),
                weights.bias().map(bias -> HostOperations.numbers(device, bias)).orElse(new float[0]));
        HostOperations.write(device, products, y);
    }

    static void linear(Backend device, View x, RowTransform transform, CodeGrid grid, Backend.Linear linear, View y) {
        Checks.linear(x, transform, grid, linear, y);
        if (transform.isNone()) {
            device.linear(x, grid, linear, y);
            return;
        }
        try (Scope scope = device.scope()) {
            View own = scope.floats(x.sizes());
            transform.apply(device, x, own);
            device.linear(own, grid, linear, y);
        }
    }

    static void matmul(Backend device, View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        Checks.matmul(a, gridsA, b, gridsB, c);
        int k = a.size(3);
        int m = c.size(3);
        for (int i = 0; i < a.size(0) * a.size(1); i++) {
            int head = i % a.size(1);
            CodeGrid gridA = gridsA.get(gridsA.size() == 1 ? 0 : head);
            CodeGrid gridB = gridsB.get(gridsB.size() == 1 ? 0 : head);
            Codes left = Codes.of(HostOperations.numbers(device, a.at(i / a.size(1)).at(head)), k, gridA);
            Codes right = Codes.of(HostOperations.numbers(device, b.at(i / a.size(1)).at(head).transpose()), k, gridB);
            float[] steps = new float[m];
            Arrays.fill(steps, gridB.ranges().get(0).step());
            float[] products = products(left, right.codes[0], steps, k, new float[0]);
            for (int j = 0; j < products.length; j++) {
                if (gridA.rows() == RowScale.SUM) {
                    products[j] /= left.sum(j / m, k);
                }
                products[j] *= right.sizes[j % m];
            }
            HostOperations.write(device, products, c.at(i / a.size(1)).at(head));
        }
    }

    /**
     * The codes of rows.
     *
     * @param codes for each range of the grid
     * @param sizes what the values of each row are multiplied with: its range, or 1
     */
    private record Codes(CodeGrid grid, byte[][] codes, float[] sizes) {

        static Codes of(float[] numbers, int columns, CodeGrid grid) {
            byte[][] codes = new byte[grid.ranges().size()][numbers.length];
            float[] sizes = new float[numbers.length / columns];
            for (int row = 0; row < sizes.length; row++) {
                int start = row * columns;
                boolean own = grid.rows() == RowScale.RANGE;
                RowRange range = own ? RowRange.of(numbers, start, start + columns, grid) : new RowRange(1, 0);
                sizes[row] = range.size();
                for (int part = 0; part < codes.length; part++) {
                    for (int i = start; i < start + columns; i++) {
                        codes[part][i] = (byte) (own ? range.code(grid, part, numbers[i]) : grid.code(part, numbers[i]));
                    }
                }
            }
            return new Codes(grid, codes, sizes);
        }

        /** What the codes of a row stand for together; 1 if that is 0. */
        float sum(int row, int columns) {
            double sum = 0;
            for (int part = 0; part < codes.length; part++) {
                int own = 0;
                for (int i = row * columns; i < (row + 1) * columns; i++) {
                    own += codes[part][i];
                }
                sum += (double) own * grid.ranges().get(part).step();
            }
            return sum == 0 ? 1 : (float) sum;
        }
    }

    /** Products of rows with the rows of B, times the rows' sizes; then the bias, if there is one, unless it came before the second range. */
    private static float[] products(Codes a, byte[] b, float[] steps, int k, float[] bias) {
        int m = steps.length;
        boolean sized = a.grid.rows() == RowScale.RANGE;
        float[] result = new float[a.sizes.length * m];
        for (int i = 0; i < result.length; i++) {
            for (int part = 0; part < a.codes.length; part++) {
                int sum = 0;
                int row = i / m * k;
                int column = i % m * k;
                for (int j = 0; j < k; j++) {
                    sum += a.codes[part][row + j] * b[column + j];
                }
                float value = sum * (a.grid.ranges().get(part).step() * steps[i % m]);
                result[i] = part > 0 ? result[i] + value : bias.length > 0 && !sized ? value + bias[i % m] : value;
            }
            if (sized) {
                result[i] = result[i] * a.sizes[i / m] + (bias.length > 0 ? bias[i % m] : 0);
            }
        }
        return result;
    }

    private static float[][] rows(Backend device, View matrix) {
        float[] numbers = HostOperations.numbers(device, matrix);
        float[][] rows = new float[matrix.size(0)][matrix.size(1)];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(numbers, i * rows[i].length, rows[i], 0, rows[i].length);
        }
        return rows;
    }

    private static void write(Backend device, float[][] rows, View to) {
        float[] numbers = new float[Math.toIntExact(to.elements())];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(rows[i], 0, numbers, i * rows[i].length, rows[i].length);
        }
        HostOperations.write(device, numbers, to);
    }
}
