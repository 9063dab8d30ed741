"""Two threads, one of which comes in between two given instructions of the other."""

from __future__ import annotations

import itertools
import sys
import threading


def disturbed(module, call, nth, change):
    """Make the call, and the change on another thread before the `nth` instruction of the module, or once that is let.

    Returns the result of the call, and whether there was an `nth` instruction.
    """
    instructions = itertools.count(1)
    thread = threading.Thread(target=change)

    def trace(frame, event, _):
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(instructions) == nth:
            thread.start()
            # It may have to wait for the end of the call.
            thread.join(0.01)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = call()
    finally:
        sys.settrace(before)
    if thread.ident is None:
        return result, False
    thread.join()
    return result, True
