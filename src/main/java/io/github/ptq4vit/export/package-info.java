/** What others run: a model as ONNX, or as plain weights with their scales. Reads artefacts, computes nothing on devices. */
package io.github.ptq4vit.export;
