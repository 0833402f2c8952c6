/** Quantisers and what a quantised layer consists of: immutable values, no computation on devices. */
package io.github.ptq4vit.quant;
