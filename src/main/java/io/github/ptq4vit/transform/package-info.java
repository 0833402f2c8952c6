/**
 * Equivalences of float32 networks: from a model to one that computes the same function with weights and activations that are
 * easier to quantise. What to choose is told by {@link io.github.ptq4vit.transform.Statistics}.
 */
package io.github.ptq4vit.transform;
