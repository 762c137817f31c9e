import type { CommandGroup } from './command.ts'
import { modelAdd } from './model-add.ts'
import { modelCanary } from './model-canary.ts'
import { modelHistory } from './model-history.ts'
import { modelList } from './model-list.ts'
import { modelPromote } from './model-promote.ts'
import { modelRollback } from './model-rollback.ts'
import { modelShadow } from './model-shadow.ts'
import { modelShow } from './model-show.ts'
import { modelStatus } from './model-status.ts'
import { modelVerify } from './model-verify.ts'

const subcommands = {
  add: modelAdd,
  list: modelList,
  show: modelShow,
  verify: modelVerify,
  promote: modelPromote,
  canary: modelCanary,
  shadow: modelShadow,
  rollback: modelRollback,
  status: modelStatus,
  history: modelHistory,
}

/** `sluice model …`: what is in the store, and which of it serves. A subcommand is a row here and a file of its own. */
export const model: CommandGroup = {
  usage: `sluice model ${Object.keys(subcommands).join('|')} [options]`,
  summary: 'what is in the store, and which versions serve',
  help: `${Object.entries(subcommands)
    .map(([name, { summary, help }]) => `  ${name.padEnd(8)} ${summary}\n           ${exampleOf(help)}`)
    .join('\n')}

sluice model COMMAND --help says more. The store is MODEL_STORE (--model-store).

Example:
  sluice model status iris-classifier`,
  subcommands,
}

/** The line after `Example:`. */
function exampleOf(help: string): string {
  return /^Example:\n\s*(.+)$/m.exec(help)?.[1] ?? ''
}
