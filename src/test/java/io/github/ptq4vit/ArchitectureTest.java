package io.github.ptq4vit;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The arrows between the packages: a package may use those to its right in the flow, never those to its left. */
@AnalyzeClasses(packages = "io.github.ptq4vit", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
    private static final String HOME = "io.github.ptq4vit.";

    @ArchTest
    static final ArchRule packagesUseOnlyWhatIsToTheirRight = layeredArchitecture().consideringOnlyDependenciesInLayers()
            .layer("cli").definedBy(HOME + "cli..")
            .layer("verbs").definedBy(HOME + "report..", HOME + "export..", HOME + "evaluate..", HOME + "calibrate..")
            .layer("transform").definedBy(HOME + "transform..")
            .layer("nouns").definedBy(HOME + "artifact..", HOME + "quant..", HOME + "model..")
            .layer("image").definedBy(HOME + "image..")
            .layer("backend").definedBy(HOME + "backend..")
            .layer("tensor").definedBy(HOME + "tensor..")
            .whereLayer("cli").mayNotBeAccessedByAnyLayer()
            .whereLayer("verbs").mayOnlyBeAccessedByLayers("cli")
            .whereLayer("transform").mayOnlyBeAccessedByLayers("verbs")
            .whereLayer("nouns").mayOnlyBeAccessedByLayers("cli", "verbs", "transform")
            .whereLayer("image").mayOnlyBeAccessedByLayers("cli", "verbs")
            .whereLayer("backend").mayOnlyBeAccessedByLayers("cli", "verbs", "transform", "nouns")
            .whereLayer("tensor").mayOnlyBeAccessedByLayers("cli", "verbs", "transform", "nouns", "image", "backend");

    @ArchTest
    static final ArchRule reportsAndExportsSeeNoImages = noClasses()
            .that().resideInAnyPackage(HOME + "report..", HOME + "export..")
            .should().dependOnClassesThat().resideInAPackage(HOME + "image..").allowEmptyShould(true);

    @ArchTest
    static final ArchRule onlyTheCpuBackendUsesOneDnn = noClasses()
            .that().resideOutsideOfPackage(HOME + "backend.cpu..")
            .should().dependOnClassesThat().resideInAnyPackage("org.bytedeco..", "com.sun.jna..").allowEmptyShould(true);

    @ArchTest
    static final ArchRule onlyTheCudaBackendUsesJcuda = noClasses()
            .that().resideOutsideOfPackage(HOME + "backend.cuda..")
            .should().dependOnClassesThat().resideInAPackage("jcuda..").allowEmptyShould(true);

    @ArchTest
    static final ArchRule onlyBackendsNamesAnImplementation = noClasses()
            .that().resideOutsideOfPackages(HOME + "backend.cpu..", HOME + "backend.cuda..")
            .and().doNotHaveFullyQualifiedName(HOME + "backend.Backends")
            .should().dependOnClassesThat().resideInAnyPackage(HOME + "backend.cpu..", HOME + "backend.cuda..")
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule implementationsDoNotKnowEachOther = noClasses()
            .that().resideInAPackage(HOME + "backend.cpu..")
            .should().dependOnClassesThat().resideInAPackage(HOME + "backend.cuda..").allowEmptyShould(true);

    @ArchTest
    static final ArchRule onlyTheCommandLineUsesItsLibraries = noClasses()
            .that().resideOutsideOfPackage(HOME + "cli..")
            .should().dependOnClassesThat().resideInAnyPackage("picocli..", "me.tongfei.progressbar..").allowEmptyShould(true);
}
