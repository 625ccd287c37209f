"""Where TensorFlow computes, and how."""

import billiard
import tensorflow as tf


def configure(threads: int) -> str:
    """Set this process's threads or GPU, before the first operation; the device in words.

    Each training process takes one GPU, in turn, and grows its memory as it needs it.
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
