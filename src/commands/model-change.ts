import { loadSettings } from '../config/load.ts'
import type { Settings } from '../config/settings.ts'
import { connectionOptions } from '../connection.ts'
import { systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import { planText, type RolloutChange } from '../core/rollout-changes.ts'
import { createTopics, rolloutTopicRequest } from '../kafka/topics.ts'
import { openStore } from '../models/open-store.ts'
import { type ChangeOutcome, changeRollout } from '../rollout/rollout-change.ts'
import { RolloutDesk } from '../rollout/rollout-desk.ts'
import { openModel } from '../serving/serving.ts'
import type { CommandContext } from './command.ts'
import { grouped, ProgressLine } from './progress-line.ts'

/** Options of every command that changes a rollout. */
export const CHANGE_OPTIONS = { timeout: 'string', json: 'boolean' } as const

/** Help of the same. */
export const CHANGE_HELP = `  --timeout SECONDS  how long replicas may take to load the versions, and then again to switch (120)
  --json             print what came of it as JSON`

const DEFAULT_TIMEOUT = '120'

export interface ChangeRequest {
  readonly model: string
  readonly change: RolloutChange
  readonly settings: Settings
  readonly timeout?: string | undefined
  readonly json?: boolean | undefined
}

/**
 * Makes one change of a rollout, tells how far it is, and prints what came of it.
 * @throws SluiceError as `changeRollout`
 */
export async function runChange(request: ChangeRequest, { signal, print, stderr }: CommandContext): Promise<void> {
  const { model, change, settings } = request
  const timeoutMs = secondsOf(request.timeout ?? DEFAULT_TIMEOUT)
  const clock = systemClock
  const connection = connectionOptions(settings)
  const progress = new ProgressLine(stderr, clock)
  const topic = settings.rolloutTopic
  await createTopics(connection, [rolloutTopicRequest(topic)])
  const { groupId } = settings
  const desk = await RolloutDesk.open({ connection, topic, model, groupId, clock, note: text => progress.note(text) })
  let outcome: ChangeOutcome
  try {
    outcome = await changeRollout({
      desk,
      model,
      change,
      timeoutMs,
      signal,
      clock,
      inStore: async version => {
        await openStore(settings, { log: silentLog, clock }).find(model, version)
      },
      verify: version => verifyHere(settings, model, version),
      hear: { note: text => progress.note(text), waiting: text => progress.wait(text) },
    })
  } finally {
    progress.clear()
    await desk.close()
  }
  print(request.json ? JSON.stringify(outcome, null, 2) : formatOutcome(outcome))
}

/** The settings of a command about one model, which the command line names first. */
export function settingsOf(
  options: Partial<Record<keyof Settings, string>>,
  { env, dotenvFile }: CommandContext,
): Settings {
  return loadSettings({ options, env, dotenvFile }).settings
}

/**
 * The positionals of a command, one for each name.
 * @throws SluiceError `invalid-config`
 */
export function namedPositionals<const N extends readonly string[]>(
  positionals: readonly string[],
  names: N,
  usage: string,
): { readonly [I in keyof N]: string } {
  if (positionals.length === names.length) return positionals as unknown as { readonly [I in keyof N]: string }
  const wanted = names.join(' and ')
  const given = positionals.length === 0 ? 'none' : positionals.join(' ')
  throw new SluiceError('invalid-config', `expected ${wanted}, given: ${given}; usage: ${usage}`)
}

async function verifyHere(settings: Settings, modelName: string, modelVersion: string): Promise<void> {
  const model = await openModel({ ...settings, modelName, modelVersion }, { log: silentLog, clock: systemClock })
  await model.close()
}

function formatOutcome({ model, plan, revision, changed, tookMs, replicas, pinned }: ChangeOutcome): string {
  if (!changed) return `${model}: ${planText(plan)} is live already (revision ${revision}); nothing was changed.`
  const width = Math.max(0, ...replicas.map(({ place }) => place.length))
  const lines = replicas.map(({ group, place, afterMs }) => {
    return `  ${place.padEnd(width)}  ${`${grouped(afterMs)} ms`.padStart(9)}  group ${group}`
  })
  const count = `${replicas.length} replica${replicas.length === 1 ? '' : 's'}`
  const when = replicas.length === 0 ? 'no replica follows it now' : `${count} switched within ${grouped(tookMs)} ms`
  const own = pinned.map(place => `  ${place} is pinned to its own version`)
  return [`${model}: ${planText(plan)} is live (revision ${revision}); ${when}.`, ...lines, ...own].join('\n')
}

function secondsOf(text: string): number {
  const seconds = Number(text)
  if (text.trim() !== '' && seconds > 0 && seconds <= 86_400) return seconds * 1_000
  throw new SluiceError('invalid-config', `--timeout is "${text}"; seconds above 0 and up to 86400 are allowed`)
}
