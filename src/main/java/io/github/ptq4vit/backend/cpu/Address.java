package io.github.ptq4vit.backend.cpu;

import org.bytedeco.javacpp.Pointer;

/** A bare native address in the form that the bindings take; owns nothing and is never collected. */
final class Address extends Pointer {

    Address(long address) {
        this.address = address;
    }

    Address to(long newAddress) {
        this.address = newAddress;
        return this;
    }
}
