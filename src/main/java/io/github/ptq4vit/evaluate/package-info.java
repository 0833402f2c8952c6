/**
 * Says how often models are right on labelled images, and how often they agree. Takes the classifiers of {@code inference};
 * what it finds goes to the command line and to reports.
 */
package io.github.ptq4vit.evaluate;
