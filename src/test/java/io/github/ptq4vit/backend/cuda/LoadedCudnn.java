package io.github.ptq4vit.backend.cuda;

/** Prints what {@link CudnnLibrary} loads: run by tests. */
final class LoadedCudnn {
    private LoadedCudnn() {
    }

    public static void main(String[] arguments) {
        CudnnLibrary.Found found = CudnnLibrary.load();
        System.out.println("cudnn " + found.file().map(file -> file + " version " + Cudnn.version()).orElse("none"));
        found.reasons().forEach(reason -> System.out.println("reason " + reason));
        CudaBackend.libraries().forEach(line -> System.out.println("line " + line));
    }
}
