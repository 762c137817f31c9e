import { fileURLToPath } from 'node:url'

/** Where compiled code is kept for the next start, unless NODE_COMPILE_CACHE says otherwise. */
export const COMPILED_FOLDER = fileURLToPath(new URL('../.cache/compiled', import.meta.url))
