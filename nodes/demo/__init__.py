"""The main job, end to end: `comity demo`. See docs/demo.md."""

from nodes.demo.run import DemoOptions, run_demo

__all__ = ["DemoOptions", "run_demo"]
