/** Seed of the property tests, printed so that a failure can be repeated: FC_SEED=… node --test … */
export const propertyOptions = { seed: Number(process.env.FC_SEED ?? Date.now() & 0x7fffffff), numRuns: 300 }
console.log(`FC_SEED=${propertyOptions.seed}`)
