/**
 * Vision transformers: their configuration and weights as read from a file, and the network itself, forward and backward,
 * on the operations of a backend.
 */
package io.github.ptq4vit.model;
