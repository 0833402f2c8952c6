/** Arrays on the host and the safetensors files they are read from and written to. Depends on no other package. */
package io.github.ptq4vit.tensor;
