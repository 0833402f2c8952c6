/**
 * The seam: everything a network and a calibration ask of a device, in terms that name no library. Implementations live
 * in subpackages and are chosen by {@link io.github.ptq4vit.backend.Backends} alone.
 */
package io.github.ptq4vit.backend;
