package io.github.ptq4vit.backend.cpu;

import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_get_size;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_set_data_handle;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_desc_query_md;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_execute;

import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.global.dnnl;

/** A compiled operation of one worker, who owns it, with its arguments; their addresses are given at each call. */
final class Primitive {
    private final Worker worker;
    private final dnnl_primitive handle = new dnnl_primitive();
    private final dnnl_exec_arg_t arguments;
    /** Of the caller's arguments, and last of the scratch memory if there is any. */
    private final dnnl_memory[] memories;
    private final Address[] addresses;
    private final int given;
    private final long scratchBytes;

    /**
     * @param description what to compile, with {@link OneDnn#attributes}
     * @param slots the arguments' numbers (DNNL_ARG_...) in the order in which {@link #run} takes their addresses
     * @param layouts their descriptors
     */
    Primitive(Worker worker, Handles owner, dnnl_primitive_desc description, int[] slots, dnnl_memory_desc[] layouts) {
        OneDnn.check(dnnl_primitive_create(handle, description), "primitive");
        owner.own(handle, dnnl::dnnl_primitive_destroy);
        dnnl_memory_desc scratch = dnnl_primitive_desc_query_md(description, dnnl.dnnl_query_scratchpad_md, 0);
        this.worker = worker;
        this.given = slots.length;
        this.scratchBytes = scratch == null ? 0 : dnnl_memory_desc_get_size(scratch);
        int count = given + (scratchBytes > 0 ? 1 : 0);
        this.arguments = new dnnl_exec_arg_t(count);
        owner.own(arguments, arguments::close);
        this.memories = new dnnl_memory[count];
        this.addresses = new Address[count];
        for (int i = 0; i < count; i++) {
            memories[i] = OneDnn.memory(owner, i < given ? layouts[i] : scratch);
            addresses[i] = new Address(0);
            arguments.position(i).arg(i < given ? slots[i] : dnnl.DNNL_ARG_SCRATCHPAD).memory(memories[i]);
        }
        arguments.position(0);
    }

    /** How many addresses {@link #run} takes. */
    int arguments() {
        return given;
    }

    /**
     * Runs it to the end on the calling thread.
     *
     * @throws io.github.ptq4vit.backend.BackendException if the backend was closed meanwhile
     */
    void run(long... where) {
        worker.requireOpen();
        for (int i = 0; i < given; i++) {
            set(i, where[i]);
        }
        if (scratchBytes > 0) {
            set(given, worker.scratch("oneDNN", scratchBytes));
        }
        int status = dnnl_primitive_execute(handle, worker.stream(), memories.length, arguments);
        if (status != 0) {
            OneDnn.check(status, "execution");
        }
    }

    private void set(int argument, long address) {
        if (addresses[argument].address() != address) {
            dnnl_memory_set_data_handle(memories[argument], addresses[argument].to(address));
        }
    }
}
