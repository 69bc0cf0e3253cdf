# SPDX-License-Identifier: Apache-2.0
# badring.py - a driver that rings a queue before it runs, then gives rings that are nowhere:
#
#	badring.py BDF
#
# Says "done" when the device has seen it all, and stays.
import ctypes
import mmap
import os
import signal
import sys

VENDOR, COMMON, NOTIFY = 9, 1, 2
FEATURE_SELECT, FEATURE, STATUS, QUEUE, ENABLE, DESC = 8, 12, 20, 22, 28, 32
ACK, DRIVER, FEATURES_OK, DRIVER_OK = 1, 2, 8, 4

where = "/sys/bus/pci/devices/" + sys.argv[1]
config = os.open(where + "/config", os.O_RDWR)
os.pwrite(config, b"\x06\x00", 4)  # memory, bus master
cfg = os.pread(config, 256, 0)


def capability(kind):
    at = cfg[0x34]
    while cfg[at] != VENDOR or cfg[at + 3] != kind:
        at = cfg[at + 1]
    return cfg[at + 4], int.from_bytes(cfg[at + 8:at + 12], "little")


bar, common = capability(COMMON)
notify_bar, notify = capability(NOTIFY)
assert bar == notify_bar
with open(where + "/resource") as f:
    first, last = (int(n, 16) for n in f.readlines()[bar].split()[:2])
resource = os.open(f"{where}/resource{bar}", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)  # Python's own mmap asks for the file's size
libc.mmap.restype = ctypes.c_void_p
regs = libc.mmap(None, ctypes.c_size_t(last - first + 1), mmap.PROT_READ | mmap.PROT_WRITE,
                 mmap.MAP_SHARED, resource, ctypes.c_long(0))
assert regs not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())


def write(kind, off, value):
    kind.from_address(regs + off).value = value


def status(bits):
    write(ctypes.c_uint8, common + STATUS, bits)


status(0)
status(ACK | DRIVER)
write(ctypes.c_uint32, common + FEATURE_SELECT, 1)
write(ctypes.c_uint32, common + FEATURE, 1)  # VERSION_1
status(ACK | DRIVER | FEATURES_OK)
write(ctypes.c_uint16, notify, 0)
for queue in 0, 1:
    write(ctypes.c_uint16, common + QUEUE, queue)
    for word in range(0, 24, 8):
        write(ctypes.c_uint32, common + DESC + word, 0x10000 * (word + 1))
    write(ctypes.c_uint16, common + ENABLE, 1)
status(ACK | DRIVER | FEATURES_OK | DRIVER_OK)
print("done", flush=True)
signal.pause()
