/**
 * The quantised checkpoint, a folder that {@code calibrate} leaves and {@code evaluate} reads: a manifest in JSON and the
 * integer codes, scales and unquantised tensors as safetensors. While a calibration is under way the folder holds the
 * finished units and is valid after each of them.
 */
package io.github.ptq4vit.artifact;
