"""The device and the threads that TensorFlow uses in this process."""

import billiard
import tensorflow as tf


def configure(threads: int) -> str:
    """Choose the threads or the GPU of this process; must run before the first TensorFlow operation.

    The training processes of a worker take the GPUs in turn, one GPU per process. A process allocates GPU memory as it
    needs it, and uses deterministic kernels.

    Args:
        threads: Number of threads within an operation, and of operations that run at the same time.

    Returns:
        The device in words: "cpu", or "gpu: " and the name of the GPU.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu"
    gpu = gpus[getattr(billiard.current_process(), "index", 0) % len(gpus)]
    tf.config.set_visible_devices(gpu, "GPU")
    tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    return f"gpu: {tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name)}"
