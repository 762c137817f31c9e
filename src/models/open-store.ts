import { FolderStore, type ModelStore } from './store.ts'

/** The store that MODEL_STORE names. */
export function openStore({ modelStore }: { readonly modelStore: string }): ModelStore {
  return new FolderStore(modelStore)
}
