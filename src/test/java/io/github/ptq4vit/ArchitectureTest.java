package io.github.ptq4vit;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.library.Architectures.LayeredArchitecture;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Which packages there are, and which others each may use. A package that is renamed, empty or not listed here is a failure. */
@AnalyzeClasses(packages = "io.github.ptq4vit", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
    private static final String HOME = "io.github.ptq4vit.";
    private static final Map<String, List<String>> MAY_USE = new LinkedHashMap<>();

    static {
        MAY_USE.put("cli", List.of("export", "evaluate", "calibrate", "inference", "artifact", "quant", "model", "image", "backend",
                "tensor"));
        MAY_USE.put("export", List.of("artifact", "quant", "model", "backend", "tensor"));
        MAY_USE.put("evaluate", List.of("inference", "artifact", "quant", "model", "image", "backend", "tensor"));
        MAY_USE.put("calibrate", List.of("transform", "inference", "quant", "model", "backend", "tensor"));
        MAY_USE.put("transform", List.of("model", "backend", "tensor"));
        MAY_USE.put("inference", List.of("artifact", "quant", "model", "backend", "tensor"));
        MAY_USE.put("artifact", List.of("quant", "model", "backend", "tensor"));
        MAY_USE.put("quant", List.of("backend", "tensor"));
        MAY_USE.put("model", List.of("backend", "tensor"));
        MAY_USE.put("image", List.of("tensor"));
        MAY_USE.put("backend", List.of("backend.cpu", "backend.cuda", "tensor"));
        MAY_USE.put("backend.cpu", List.of("backend", "tensor"));
        MAY_USE.put("backend.cuda", List.of("backend", "tensor"));
        MAY_USE.put("tensor", List.of());
    }

    @ArchTest
    static final ArchRule everyPackageIsListed = classes().should()
            .resideInAnyPackage(MAY_USE.keySet().stream().map(name -> HOME + name).toArray(String[]::new));

    @ArchTest
    static final ArchRule packagesUseOnlyWhatTheyMay = arrows();

    private static ArchRule arrows() {
        LayeredArchitecture rule = layeredArchitecture().consideringOnlyDependenciesInLayers().withOptionalLayers(false);
        for (String name : MAY_USE.keySet()) {
            rule = rule.layer(name).definedBy(HOME + name);
        }
        for (Map.Entry<String, List<String>> entry : MAY_USE.entrySet()) {
            rule = entry.getValue().isEmpty() ? rule.whereLayer(entry.getKey()).mayNotAccessAnyLayer()
                    : rule.whereLayer(entry.getKey()).mayOnlyAccessLayers(entry.getValue().toArray(String[]::new));
        }
        return rule;
    }

    @ArchTest
    static final ArchRule onlyBackendsNamesAnImplementation = noClasses()
            .that().resideOutsideOfPackages(HOME + "backend.cpu", HOME + "backend.cuda")
            .and().doNotHaveFullyQualifiedName(HOME + "backend.Backends")
            .should().dependOnClassesThat().resideInAnyPackage(HOME + "backend.cpu", HOME + "backend.cuda");

    @ArchTest
    static final ArchRule onlyTheCpuBackendUsesOneDnn = noClasses()
            .that().resideOutsideOfPackage(HOME + "backend.cpu")
            .should().dependOnClassesThat().resideInAnyPackage("org.bytedeco..", "com.sun.jna..");

    @ArchTest
    static final ArchRule onlyTheCudaBackendUsesJcuda = noClasses()
            .that().resideOutsideOfPackage(HOME + "backend.cuda")
            .should().dependOnClassesThat().resideInAPackage("jcuda..");

    @ArchTest
    static final ArchRule onlyTheCommandLineUsesItsLibraries = noClasses()
            .that().resideOutsideOfPackage(HOME + "cli")
            .should().dependOnClassesThat().resideInAnyPackage("picocli..", "me.tongfei.progressbar..");
}
