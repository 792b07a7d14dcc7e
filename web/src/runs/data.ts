// What the pages of runs ask of the service; while a round runs, again and again.

import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { api, dataOf } from "@/api/client";
import type { RunView, StageView } from "@/api/schema";

/** How often what is running is looked at. */
export const EVERY = 2_000;
/** How often it is looked whether something began. */
export const SELDOM = 15_000;
/** How long an answer may take; then it is asked again. */
export const PATIENCE = 10_000;

export type StageName = StageView["name"];
export type Trained = Exclude<StageName, "gate" | "evaluation">;
export const isTrained = (stage: string): stage is Trained =>
  ["sft", "reward", "ppo", "dpo", "best_of_n", "judge"].includes(stage);

const patient = (signal: AbortSignal) => AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
const pace = (runs: RunView[] | undefined) => (runs?.some(({ state }) => state === "running") ? EVERY : SELDOM);

export const useRuns = () =>
  useQuery({
    queryKey: ["runs"],
    queryFn: async ({ signal }) => (await dataOf(api.GET("/api/runs", { signal: patient(signal) }))).runs,
    refetchInterval: ({ state }) => pace(state.data),
  });

export const useRun = (name: string) =>
  useQuery({
    queryKey: ["run", name],
    queryFn: ({ signal }) =>
      dataOf(api.GET("/api/runs/{name}", { params: { path: { name } }, signal: patient(signal) })),
    refetchInterval: ({ state }) => pace(state.data && [state.data]),
  });

export const useEvaluation = (name: string, made: boolean) =>
  useQuery({
    queryKey: ["evaluation", name],
    queryFn: ({ signal }) =>
      dataOf(api.GET("/api/runs/{name}/evaluation", { params: { path: { name } }, signal: patient(signal) })),
    enabled: made,
    placeholderData: keepPreviousData,
  });

export const useMetrics = (name: string, stage: Trained, live: boolean) =>
  useGrowing(["metrics", name, stage], live, (after, signal) =>
    dataOf(
      api.GET("/api/runs/{name}/metrics/{stage}", { params: { path: { name, stage }, query: { after } }, signal }),
    ),
  );

export const useSamples = (name: string, live: boolean) =>
  useGrowing(["samples", name], live, (after, signal) =>
    dataOf(api.GET("/api/runs/{name}/samples", { params: { path: { name }, query: { after } }, signal })),
  );

export type Grown<Row> = { rows: readonly Row[]; place: string };
type Read<Row> = { rows: Row[]; place: string; anew: boolean };

/** What was read so far with what is new; where the file was rewritten, all of it is new. */
export function grown<Row>(old: Grown<Row> | undefined, read: Read<Row>): Grown<Row> {
  if (!old || read.anew) return read;
  return { rows: read.rows.length ? [...old.rows, ...read.rows] : old.rows, place: read.place };
}

/** The rows of a file that grows while the round is `live`: each is sent once. */
function useGrowing<Row>(
  queryKey: string[],
  live: boolean,
  read: (after: string, signal: AbortSignal) => Promise<Read<Row>>,
) {
  const client = useQueryClient();
  const query = useQuery({
    queryKey,
    queryFn: async ({ signal }) => {
      const old = client.getQueryData<Grown<Row>>(queryKey);
      return grown(old, await read(old?.place ?? "", patient(signal)));
    },
    refetchInterval: live ? EVERY : false,
    structuralSharing: false,
  });
  const { refetch } = query;
  useEffect(() => {
    if (!live) refetch({ cancelRefetch: false }); // the last lines came after the last look
  }, [live, refetch]);
  return query;
}
