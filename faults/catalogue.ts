import type { Fault } from './fault.ts'
import { BROKER_FAULTS } from './strikes/brokers.ts'
import { CONNECTION_FAULTS } from './strikes/connections.ts'
import { ROLLOUT_FAULTS } from './strikes/rollouts.ts'
import { SESSION_FAULTS } from './strikes/sessions.ts'
import { THREE_AT_ONCE } from './strikes/three-at-once.ts'
import { TOPIC_FAULTS } from './strikes/topics.ts'
import { WORKER_FAULTS } from './strikes/workers.ts'

/** Every fault, in the order of the table in docs/reliability.md; those on servers of one kind beside one another. */
export const CATALOGUE: readonly Fault[] = [
  ...WORKER_FAULTS,
  ...ROLLOUT_FAULTS,
  ...BROKER_FAULTS,
  ...SESSION_FAULTS,
  ...CONNECTION_FAULTS,
  ...TOPIC_FAULTS,
  ...THREE_AT_ONCE,
]
