"""An Airflow DAG (2.4 or newer) that scores the file of each day with a worker's image, and fails where rows do.

Put it into the folder of DAGs. The files lie under /data, which the workers of Airflow mount; `sluice` is on their PATH, or
the command is `docker run --rm -v /data:/data sluice score …`. A task that was killed may run again as it is: the output
gets its name only once it is whole, and --force lets a day be scored anew.
"""

import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG(
    dag_id="score_daily",
    schedule="@daily",
    start_date=datetime.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=5)},
) as dag:
    BashOperator(
        task_id="score",
        bash_command=(
            "sluice score --json --force --model iris-classifier --max-dead-letters 100"
            " --input /data/features/{{ ds }}.parquet --output /data/predictions/{{ ds }}.parquet --keep id"
        ),
        env={"MODEL_STORE": "s3://models/production"},
        # S3 credentials, PATH.
        append_env=True,
    )
