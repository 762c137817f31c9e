"""A luigi task whose output is a scored file.

    pip install -r requirements.txt
    SLUICE='node src/cli.ts' python score.py ScoreFile --local-scheduler \
        --source flowers.csv --target predictions.parquet --model iris-classifier

The target has its name only once all of it is on the disk, so luigi takes the task for done exactly if it is: a run that was
killed leaves nothing that luigi would find, and the next one starts over.
"""

import json
import os
import shlex
import subprocess

import luigi


class ScoreFile(luigi.Task):
    source = luigi.Parameter(description="the file to score")
    target = luigi.Parameter(description="the file to make")
    model = luigi.Parameter()
    version = luigi.OptionalParameter(default=None, description="instead of the highest")
    max_dead_letters = luigi.IntParameter(default=0, description="more fail the task")

    def output(self):
        return luigi.LocalTarget(self.target)

    def run(self):
        command = [
            *shlex.split(os.environ.get("SLUICE", "sluice")),
            *("score", "--json", "--input", self.source, "--output", self.target),
            *("--model", self.model, "--max-dead-letters", str(self.max_dead_letters)),
            # The target is missing, or luigi would not run; dead letters of one that was removed may be there.
            "--force",
        ]
        if self.version is not None:
            command += ["--version", self.version]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        summary = json.loads(done.stdout)
        self.set_status_message(f"{summary['predictions']} predictions, {summary['deadLetters']} dead letters")


if __name__ == "__main__":
    raise SystemExit(0 if luigi.run() else 1)
