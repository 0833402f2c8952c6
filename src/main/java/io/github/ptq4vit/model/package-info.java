/**
 * Vision transformers: their configuration and weights as read from a file, and the network itself on the operations of a backend.
 * What a block computes is a list of {@linkplain io.github.ptq4vit.model.Stage stages}, which are run forward and backward, and exported.
 */
package io.github.ptq4vit.model;
