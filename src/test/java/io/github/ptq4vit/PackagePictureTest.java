package io.github.ptq4vit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/**
 * The picture of packages and arrows in {@code docs/architecture.md} is drawn from the code. To draw it anew:
 *
 * <pre>{@code mvn test -Dtest=PackagePictureTest -Dptq4vit.picture.draw=true}</pre>
 */
class PackagePictureTest {
    private static final String HOME = "io.github.ptq4vit.";
    private static final Path PAGE = Path.of("docs", "architecture.md");
    private static final String START = "```mermaid\n";
    private static final String END = "```\n";

    @Test
    void thePictureShowsThePackagesAsTheyAre() throws IOException {
        String page = Files.readString(PAGE);
        int from = page.indexOf(START) + START.length();
        int to = page.indexOf(END, from);
        assertTrue(from >= START.length() && to > from, PAGE + " has no picture");
        String drawn = picture();
        if (Boolean.getBoolean("ptq4vit.picture.draw")) {
            Files.writeString(PAGE, page.substring(0, from) + drawn + page.substring(to));
        } else {
            assertEquals(drawn, page.substring(from, to), "draw it anew as this test's Javadoc says");
        }
    }

    private static String picture() {
        TreeMap<String, Set<String>> arrows = new TreeMap<>();
        for (JavaClass type : new ClassFileImporter().withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
                .importPackages(HOME)) {
            String from = name(type);
            for (Dependency dependency : type.getDirectDependenciesFromSelf()) {
                String to = name(dependency.getTargetClass());
                if (!to.isEmpty() && !to.equals(from)) {
                    arrows.computeIfAbsent(from, f -> new TreeSet<>()).add(to);
                }
            }
        }
        StringBuilder picture = new StringBuilder("flowchart LR\n");
        arrows.forEach((from, targets) -> targets.forEach(to -> picture.append("    ").append(from).append(" --> ").append(to)
                .append('\n')));
        return picture.toString();
    }

    private static String name(JavaClass type) {
        String name = type.getPackageName() + ".";
        return name.startsWith(HOME) ? name.substring(HOME.length(), name.length() - 1) : "";
    }
}
