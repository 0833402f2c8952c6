/**
 * Arrays on the host, the files they are read from (safetensors, in one piece or several, and those of PyTorch) and written
 * to (safetensors). Depends on no other package.
 */
package io.github.ptq4vit.tensor;
