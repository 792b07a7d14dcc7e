type Sampled = { stage: string; step: number; prompt: string; answer: string };

/** The answers to each prompt in their order; the prompt that was asked last comes first. */
export function byPrompt<Row extends Sampled>(rows: readonly Row[]): { prompt: string; answers: Row[] }[] {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const answers = found.get(row.prompt) ?? [];
    found.delete(row.prompt); // what is set again is last
    found.set(row.prompt, [...answers, row]);
  }
  return [...found].map(([prompt, answers]) => ({ prompt, answers })).reverse();
}
