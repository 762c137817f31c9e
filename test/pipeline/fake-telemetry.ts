import type { BatcherTelemetry, BatchTrigger, PartitionTelemetry, RunCost } from '../../src/core/telemetry.ts'

/** Remembers what was reported, as text. */
export class FakePartitionTelemetry implements PartitionTelemetry {
  readonly events: string[] = []
  recordsIn(count: number) {
    this.events.push(`in ${count}`)
  }
  predictions(_version: string, count: number) {
    this.events.push(`predictions ${count}`)
  }
  shadow(version: string) {
    return {
      predictions: (count: number) => void (count > 0 && this.events.push(`shadow ${version} predictions ${count}`)),
      dropped: (reason: string, count: number) =>
        void this.events.push(`shadow ${version} dropped ${count}: ${reason}`),
    }
  }
  deadLetter(code: string) {
    this.events.push(`dead letter ${code}`)
  }
  outputMs() {}
  endToEndMs(ms: number) {
    this.events.push(`end to end ${ms}`)
  }
  transaction(outcome: string) {
    this.events.push(outcome)
  }
  readonly commitWaits: number[] = []
  commitWaitMs(ms: number) {
    this.commitWaits.push(ms)
  }
  inFlight() {}
  lag(records: number) {
    this.events.push(`lag ${records}`)
  }
  paused(value: boolean) {
    this.events.push(value ? 'paused' : 'resumed')
  }
  remove() {
    this.events.push('removed')
  }
}

export class FakeBatcherTelemetry implements BatcherTelemetry {
  readonly batches: { rows: number; trigger: BatchTrigger; queueMs: number }[] = []
  batch(rows: number, trigger: BatchTrigger, { queueMs }: { queueMs: number }) {
    this.batches.push({ rows, trigger, queueMs })
  }
  sessions() {}
  sessionBusyMs() {}
  readonly costs: { provider: string; cost: RunCost }[] = []
  runCost(provider: string, cost: RunCost) {
    this.costs.push({ provider, cost })
  }
  readonly limits: number[] = []
  batchLimit(rows: number) {
    this.limits.push(rows)
  }
}
