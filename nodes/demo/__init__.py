"""The main job, end to end: `comity demo`. See docs/demo.md."""
