import { fileURLToPath } from 'node:url'
import { ContenderProcess } from './contender-process.ts'
import type { RuntimeJob, RuntimeResult } from './limits/runtime-job.ts'
import type { Stage } from './stage.ts'
import type { Workload } from './workload.ts'

const RUNTIME = fileURLToPath(new URL('./limits/runtime.ts', import.meta.url))

/** ONNX Runtime alone. */
export interface RuntimeRun {
  readonly rowsPerSecond: number
  readonly cpuPerMillion: number | undefined
  readonly rssMiB: number | undefined
}

/** Runs a model without Kafka, in a process of its own. */
export async function measureRuntime(stage: Stage, workload: Workload, job: RuntimeJob): Promise<RuntimeRun> {
  const env = { RUNTIME_JOB: JSON.stringify(job) }
  const command = { file: process.execPath, args: [RUNTIME], env }
  const running = await ContenderProcess.start(command, await stage.folder(workload), 'ONNX Runtime')
  try {
    const { rows, seconds, cpuSeconds, rssMiB } = JSON.parse(await running.result()) as RuntimeResult
    const cpuPerMillion = cpuSeconds === undefined ? undefined : (cpuSeconds / rows) * 1e6
    return { rowsPerSecond: rows / seconds, cpuPerMillion, rssMiB }
  } finally {
    await running.stop()
  }
}
