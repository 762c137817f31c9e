import type { PartitionStatus, WorkerStatus } from '../../src/ops/status.ts'

const running: PartitionStatus = {
  topic: 'iris-features',
  partition: 0,
  state: 'RUNNING',
  answers: { version: '3', from: 1024 },
  position: 1900,
  committed: 1841,
  lag: 12,
  inFlight: 59,
  paused: false,
}

const starting: PartitionStatus = {
  topic: 'iris-features',
  partition: 1,
  state: 'INITIALISING',
  answers: null,
  position: null,
  committed: null,
  lag: null,
  inFlight: 0,
  paused: true,
}

export const STATUS: WorkerStatus = {
  groupId: 'sluice',
  inputTopic: 'iris-features',
  outputTopic: 'iris-predictions',
  deadLetterTopic: 'iris-features.dlq',
  guarantee: 'exactly-once',
  model: { name: 'iris', version: '3', sha256: 'ab'.repeat(32) },
  rollout: { revision: 7, stable: '3', canary: { version: '4', percent: 10 }, shadows: ['5'] },
  sessions: { size: 2, busy: 1, spec: 'cpu*2' },
  totals: { recordsIn: 1841, predictions: 1800, deadLetters: 3 },
  partitions: [running, starting],
}
