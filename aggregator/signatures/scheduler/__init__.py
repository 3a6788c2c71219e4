"""The parts of incident 2, scheduler_stuck: pods that no node takes, and what tells before the first one waits."""
