package io.github.ptq4vit.backend.cpu;

import static org.bytedeco.dnnl.global.dnnl.dnnl_engine_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_create_with_strides;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_create_with_tag;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_set_scratchpad_mode;

import com.sun.jna.NativeLibrary;
import io.github.ptq4vit.backend.BackendException;
import java.io.File;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_version_t;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.Loader;

/** oneDNN itself: loading it, its engine, memory descriptors and error codes. */
final class OneDnn {
    /** Whether a thread has been told. */
    private static final ThreadLocal<Boolean> ALONE = new ThreadLocal<>();

    private OneDnn() {
    }

    /** Loads the libraries, once for the process. */
    static dnnl_engine engine() {
        return Holder.ENGINE;
    }

    /**
     * Makes oneDNN run on the calling thread alone. Its OpenMP runtime keeps the setting per thread and has no other way
     * to be told from inside a running process.
     */
    static void useOneThread() {
        if (ALONE.get() == null) {
            Holder.OPEN_MP.getFunction("omp_set_num_threads").invoke(new Object[] {1});
            ALONE.set(true);
        }
    }

    /** Version of the library that is loaded. */
    static String version() {
        dnnl_version_t version = dnnl.dnnl_version();
        return version.major() + "." + version.minor() + "." + version.patch();
    }

    /** Descriptor of a strided array. */
    static dnnl_memory_desc strided(Handles owner, int type, long[] sizes, long[] strides) {
        dnnl_memory_desc descriptor = new dnnl_memory_desc();
        check(dnnl_memory_desc_create_with_strides(descriptor, sizes.length, sizes, type, strides), "strided descriptor");
        return owner.own(descriptor, dnnl::dnnl_memory_desc_destroy);
    }

    /** Descriptor of a row-major array. */
    static dnnl_memory_desc dense(Handles owner, int type, long... sizes) {
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= sizes[i];
        }
        return strided(owner, type, sizes, strides);
    }

    /** Descriptor that leaves the layout to the primitive. */
    static dnnl_memory_desc anyLayout(Handles owner, int type, long... sizes) {
        dnnl_memory_desc descriptor = new dnnl_memory_desc();
        check(dnnl_memory_desc_create_with_tag(descriptor, sizes.length, sizes, type, dnnl.dnnl_format_tag_any),
                "open descriptor");
        return owner.own(descriptor, dnnl::dnnl_memory_desc_destroy);
    }

    /**
     * Attributes of a primitive whose scratch memory is given by its user: oneDNN's own belongs to the thread that made the
     * primitive, who could then neither lend it to another thread nor have it destroyed by one.
     */
    static dnnl_primitive_attr attributes(Handles owner) {
        dnnl_primitive_attr attributes = new dnnl_primitive_attr();
        check(dnnl_primitive_attr_create(attributes), "attributes");
        owner.own(attributes, dnnl::dnnl_primitive_attr_destroy);
        check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl.dnnl_scratchpad_mode_user), "scratch memory");
        return attributes;
    }

    /** A memory object without memory; primitives set its address at each call. */
    static dnnl_memory memory(Handles owner, dnnl_memory_desc descriptor) {
        dnnl_memory memory = new dnnl_memory();
        check(dnnl_memory_create(memory, descriptor, engine(), new Address(0)), "memory");
        return owner.own(memory, dnnl::dnnl_memory_destroy);
    }

    /** Throws unless a call succeeded. */
    static void check(int status, String what) {
        if (status != dnnl.dnnl_success) {
            String reason = switch (status) {
                case 1 -> "out of memory";
                case 2 -> "invalid arguments";
                case 3 -> "not implemented for these sizes or types";
                default -> "status " + status;
            };
            throw new BackendException("oneDNN failed: " + what + ": " + reason);
        }
    }

    private static final class Holder {
        static final dnnl_engine ENGINE;
        static final NativeLibrary OPEN_MP;

        static {
            try {
                String jni = Loader.load(dnnl.class);
                // the very file that oneDNN is linked to lies beside its bindings
                OPEN_MP = NativeLibrary.getInstance(new File(new File(jni).getParentFile(), "libgomp.so.1").getPath());
                ENGINE = new dnnl_engine();
                check(dnnl_engine_create(ENGINE, dnnl.dnnl_cpu, 0), "engine");
            } catch (LinkageError e) {
                throw new BackendException("The CPU backend needs 64-bit x86 Linux with glibc: oneDNN's native library"
                        + " does not load here (" + e.getMessage() + ")", e);
            }
        }
    }
}
