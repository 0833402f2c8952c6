/**
 * Runs float32 and quantised models on images: the products of codes, and the classifier. Takes what {@code model} and
 * {@code artifact} read; {@code calibrate} and {@code evaluate} stand on it.
 */
package io.github.ptq4vit.inference;
