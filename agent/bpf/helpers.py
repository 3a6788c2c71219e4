"""Numbers of the kernel's helper functions that our programs call.

Source: enum bpf_func_id in include/uapi/linux/bpf.h.
"""

MAP_LOOKUP_ELEM = 1
MAP_UPDATE_ELEM = 2
MAP_DELETE_ELEM = 3
KTIME_GET_NS = 5
GET_CURRENT_PID_TGID = 14
GET_CURRENT_COMM = 16
GET_CURRENT_TASK = 35
GET_CURRENT_CGROUP_ID = 80
PROBE_READ_KERNEL = 113
"""Since 5.5; refused under lockdown=confidentiality."""
SKC_TO_TCP_SOCK = 137
"""Since 5.9."""
GET_CURRENT_TASK_BTF = 158
"""Since 5.11."""
