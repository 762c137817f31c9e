import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import { FolderStore, type ModelStore } from './store.ts'

/** The settings of the same names. */
export interface StoreSettings {
  readonly modelStore: string
}

interface StoreTools {
  readonly log: Log
  readonly clock: Clock
}

/** The store that MODEL_STORE names: a folder, which needs none of the tools. */
export function openStore({ modelStore }: StoreSettings, _tools: StoreTools): ModelStore {
  return new FolderStore(modelStore)
}
