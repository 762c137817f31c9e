import type { CommandGroup } from './command.ts'
import { modelAdd } from './model-add.ts'
import { modelList } from './model-list.ts'
import { modelShow } from './model-show.ts'
import { modelVerify } from './model-verify.ts'

const subcommands = { add: modelAdd, list: modelList, show: modelShow, verify: modelVerify }

/** `sluice model …`: what is in the store, and what may serve. A subcommand is a row here and a file of its own. */
export const model: CommandGroup = {
  usage: `sluice model ${Object.keys(subcommands).join('|')} [options]`,
  summary: 'adds, lists, shows and verifies models in the store',
  help: `${Object.entries(subcommands)
    .map(([name, { summary, help }]) => `  ${name.padEnd(7)} ${summary}\n          ${exampleOf(help)}`)
    .join('\n')}

sluice model COMMAND --help says more. The store is MODEL_STORE (--model-store).`,
  subcommands,
}

/** The line after `Example:`. */
function exampleOf(help: string): string {
  return /^Example:\n\s*(.+)$/m.exec(help)?.[1] ?? ''
}
