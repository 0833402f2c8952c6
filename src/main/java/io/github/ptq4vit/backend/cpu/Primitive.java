package io.github.ptq4vit.backend.cpu;

import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_set_data_handle;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_execute;

import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;

/** A compiled operation of one worker with its arguments; their addresses are given at each call. */
final class Primitive {
    private final dnnl_primitive handle = new dnnl_primitive();
    private final dnnl_stream stream;
    private final dnnl_exec_arg_t arguments;
    private final dnnl_memory[] memories;
    private final Address[] addresses;

    /**
     * @param description what to compile
     * @param slots the arguments' numbers (DNNL_ARG_...) in the order in which {@link #run} takes their addresses
     * @param layouts their descriptors
     */
    Primitive(dnnl_stream stream, dnnl_primitive_desc description, int[] slots, dnnl_memory_desc[] layouts) {
        OneDnn.check(dnnl_primitive_create(handle, description), "primitive");
        this.stream = stream;
        this.arguments = new dnnl_exec_arg_t(slots.length);
        this.memories = new dnnl_memory[slots.length];
        this.addresses = new Address[slots.length];
        for (int i = 0; i < slots.length; i++) {
            memories[i] = OneDnn.memory(layouts[i]);
            addresses[i] = new Address(0);
            arguments.position(i).arg(slots[i]).memory(memories[i]);
        }
        arguments.position(0);
    }

    /** How many addresses {@link #run} takes. */
    int arguments() {
        return memories.length;
    }

    /** Runs it to the end on the calling thread. */
    void run(long... where) {
        for (int i = 0; i < memories.length; i++) {
            if (addresses[i].address() != where[i]) {
                dnnl_memory_set_data_handle(memories[i], addresses[i].to(where[i]));
            }
        }
        int status = dnnl_primitive_execute(handle, stream, memories.length, arguments);
        if (status != 0) {
            OneDnn.check(status, "execution");
        }
    }
}
