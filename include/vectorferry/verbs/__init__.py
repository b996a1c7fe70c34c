"""What an operator's verb does and tells, the same on a terminal and in a task's log."""
