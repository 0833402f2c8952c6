package io.github.ptq4vit.backend.cuda;

import jcuda.driver.CUdeviceptr;

/** An address on the device, as JCuda wants it. */
final class DevicePointer extends CUdeviceptr {

    /** A place for an address. */
    DevicePointer() {
    }

    /** A known address. */
    DevicePointer(long address) {
        super(new CUdeviceptr(), address);
    }

    /** The address as a number. */
    long address() {
        return getNativePointer() + getByteOffset();
    }
}
