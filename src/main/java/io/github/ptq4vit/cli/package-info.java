/**
 * The command line: options to configurations, files to models and images, results to standard output. Nothing is computed
 * here.
 */
package io.github.ptq4vit.cli;
