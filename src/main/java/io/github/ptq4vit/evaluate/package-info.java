/**
 * Runs float32 and quantised models on images and says how often they are right, and how often they agree. Takes
 * what {@code model} and {@code artifact} read; what it finds goes to the command line and to reports.
 */
package io.github.ptq4vit.evaluate;
