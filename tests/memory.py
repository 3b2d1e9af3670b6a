"""A recorder that keeps everything in memory."""


class Memory:
    def __init__(self):
        self.checkpoint, self.steps, self.commits, self.stop = None, {}, [], lambda: False

    def latest(self):
        return self.checkpoint

    def record(self, step, values):
        assert step not in self.steps
        self.steps[step] = dict(values)

    def commit(self, checkpoint):
        self.checkpoint = checkpoint
        self.commits.append(checkpoint.step)

    def stop_requested(self):
        return self.stop()
