import { spawnSync } from 'node:child_process'
import { rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import kafkajs from 'kafkajs'
import type { ErrorCode } from '../../src/core/errors.ts'
import { committedOffsets, createTopics, until, withAdmin } from '../../test/support/broker.ts'
import type { Fault, Strike } from '../fault.ts'
import { PARTITIONS, type Stage } from '../stage.ts'

const { ConfigResourceTypes } = kafkajs

const BACK_LIMIT_MS = 10_000

/** Waits until every worker that serves partitions says that it is not ready, for this reason. */
async function allSay(stage: Stage, codes: readonly ErrorCode[]): Promise<void> {
  const say = async () => {
    const reasons = await Promise.all(stage.replicas.map(replica => stage.reasons(replica)))
    return reasons.every(given => given.some(code => codes.includes(code)))
  }
  await until(say, () => `not all workers gave one of the reasons ${codes.join(', ')}`, 60_000)
}

/**
 * The output topic is deleted under load, and created again once all workers have said that it is missing. What it held
 * is gone, as was asked for: what was committed until then is judged before and after, from then on anew.
 */
async function deleteOutput(stage: Stage): Promise<Strike> {
  const { bed, generator } = stage
  generator.pause()
  await bed.caughtUp()
  await stage.judge()
  generator.resume()
  await stage.moment(1_000)
  await withAdmin(admin => admin.deleteTopics({ topics: [bed.output] }))
  await allSay(stage, ['topic-missing', 'output-refused'])
  stage.judgeFrom(await committedOffsets(bed.group, bed.input))
  await createTopics({ [bed.output]: PARTITIONS })
  return { since: Date.now() }
}

async function setMaxMessageBytes(topic: string, value: string): Promise<void> {
  const configEntries = [{ name: 'max.message.bytes', value }]
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
  await withAdmin(admin => admin.alterConfigs({ validateOnly: false, resources }))
}

/** Less than the smallest batch with one prediction. */
const TOO_SMALL = '100'
const USUAL = '1048588'

async function shrinkOutput(stage: Stage): Promise<Strike> {
  await setMaxMessageBytes(stage.bed.output, TOO_SMALL)
  await allSay(stage, ['output-refused'])
  await setMaxMessageBytes(stage.bed.output, USUAL)
  return { since: Date.now() }
}

/** One of the rights that a worker needs is gone, until all workers have said so. */
async function withdrawRight(stage: Stage, turn: number): Promise<Strike> {
  const rights = rightsOf(stage)
  const right = rights[turn % rights.length]!
  await withAdmin(admin => admin.deleteAcls({ filters: [right] }))
  await allSay(stage, ['not-authorised', 'topic-missing'])
  await withAdmin(admin => admin.createAcls({ acl: [right] }))
  return { since: Date.now() }
}

function rightsOf({ bed, servers }: Stage) {
  const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs
  const { username } = servers.nodes[0]!.sasl!.restricted
  const who = { principal: `User:${username}`, host: '*', permissionType: AclPermissionTypes.ALLOW }
  const right = (
    resourceType: kafkajs.AclResourceTypes,
    resourceName: string,
    operation: kafkajs.AclOperationTypes,
    resourcePatternType = ResourcePatternTypes.LITERAL,
  ) => ({ ...who, resourceType, resourceName, operation, resourcePatternType })
  return [
    right(AclResourceTypes.TOPIC, bed.output, AclOperationTypes.WRITE),
    right(AclResourceTypes.TRANSACTIONAL_ID, bed.group, AclOperationTypes.WRITE, ResourcePatternTypes.PREFIXED),
    right(AclResourceTypes.TOPIC, bed.input, AclOperationTypes.READ),
    right(AclResourceTypes.GROUP, bed.group, AclOperationTypes.READ),
    right(AclResourceTypes.TOPIC, bed.deadLetter, AclOperationTypes.WRITE),
  ]
}

/** All that a worker needs: those that are withdrawn and given back, and those of the rollout. */
async function grantAll(stage: Stage): Promise<void> {
  const { AclOperationTypes } = kafkajs
  const { rollout, timeline } = stage.bed
  const rights = rightsOf(stage)
  const [onTopic] = rights
  const ofRollout = [
    { ...onTopic!, resourceName: rollout, operation: AclOperationTypes.READ },
    { ...onTopic!, resourceName: rollout, operation: AclOperationTypes.WRITE },
    { ...onTopic!, resourceName: timeline, operation: AclOperationTypes.WRITE },
  ]
  await createTopics({ [timeline]: 1 })
  await withAdmin(admin => admin.createAcls({ acl: [...rights, ...ofRollout] }))
}

/** Room for a few moments of records. */
const LEFT_BYTES = 2 * 1024 * 1024

/** The disk fills up, the broker dies of it, and comes back when there is room again. */
async function fillDisk(stage: Stage): Promise<Strike> {
  const [broker] = stage.servers.nodes
  const ballast = join(stage.servers.disk!, 'ballast')
  const { bavail, bsize } = await statfs(stage.servers.disk!)
  const bytes = Math.max(0, bavail * bsize - LEFT_BYTES)
  const filled = spawnSync('fallocate', ['-l', String(bytes), ballast], { encoding: 'utf8' })
  if (filled.status !== 0) throw new Error(`The disk could not be filled: ${filled.stderr}`)
  await until(
    () => broker!.pid === undefined,
    () => 'the broker goes on with a full disk',
    60_000,
  )
  await rm(ballast)
  await broker!.start()
  return { since: Date.now() }
}

export const TOPIC_FAULTS: readonly Fault[] = [
  {
    name: 'output-deleted',
    what: 'the output topic is deleted under load, and created again',
    strikes: 10,
    servers: 'broker',
    limitMs: BACK_LIMIT_MS,
    strike: deleteOutput,
  },
  {
    name: 'output-too-small',
    what: 'the output topic takes no prediction (max.message.bytes), and then does again',
    strikes: 10,
    short: [0],
    servers: 'broker',
    limitMs: BACK_LIMIT_MS,
    strike: shrinkOutput,
  },
  {
    name: 'right-withdrawn',
    what: 'one of five rights is withdrawn, and given back',
    strikes: 10,
    servers: 'guarded',
    limitMs: BACK_LIMIT_MS,
    prepare: grantAll,
    strike: withdrawRight,
  },
  {
    name: 'disk-full',
    what: 'the broker’s disk is full, it dies of it, and is started again with room',
    strikes: 10,
    servers: 'small disk',
    recordsPerSecond: 3_000,
    limitMs: BACK_LIMIT_MS,
    strike: fillDisk,
  },
]
