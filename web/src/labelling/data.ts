// What the pages for trainers ask of the service.

import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "@/api/client";
import type { ComparisonView, DemonstrationView, ReviewDecision } from "@/api/schema";
import type { Calls } from "./steps";

const KEY = "labelling";
const DEMONSTRATIONS = [KEY, "demonstrations"];
const one = (id: string) => ({ params: { path: { annotation_id: id } } });

export const useGuidelines = () =>
  useQuery({
    queryKey: [KEY, "guidelines"],
    queryFn: () => dataOf(api.GET("/api/labelling/guidelines")),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** How many rankings or dialogues the trainer has handed in. */
export function useHandedIn(kind: "comparison" | "demonstration"): number {
  const { data } = useQuery({
    queryKey: [KEY, "totals"],
    queryFn: () => dataOf(api.GET("/api/labelling/totals")),
  });
  return data?.totals.find((total) => total.kind === kind && total.state === "submitted")?.works ?? 0;
}

/** What to rank now: work that was begun, or answers that are sampled while one waits. */
export const useNextComparison = () =>
  useQuery({
    queryKey: [KEY, "next"],
    queryFn: ({ signal }) => dataOf(api.POST("/api/labelling/comparisons/next", { signal })),
    retry: false,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });

export const comparisonCalls = (id: string): Calls<ComparisonView> => ({
  open: () => dataOf(api.GET("/api/labelling/comparisons/{annotation_id}", one(id))),
  save: (revision, value) =>
    dataOf(api.PUT("/api/labelling/comparisons/{annotation_id}", { ...one(id), body: { revision, value } })),
  undo: (revision) =>
    dataOf(api.POST("/api/labelling/comparisons/{annotation_id}/undo", { ...one(id), body: { revision } })),
  submit: (revision, value) =>
    dataOf(api.POST("/api/labelling/comparisons/{annotation_id}/submit", { ...one(id), body: { revision, value } })),
  skip: (revision, reason) =>
    dataOf(api.POST("/api/labelling/comparisons/{annotation_id}/skip", { ...one(id), body: { revision, reason } })),
});

const openDemonstration = (id: string) => dataOf(api.GET("/api/labelling/demonstrations/{annotation_id}", one(id)));

export const useDemonstrations = () =>
  useQuery({
    queryKey: DEMONSTRATIONS,
    queryFn: () => dataOf(api.GET("/api/labelling/demonstrations")),
  });

/** A dialogue, once, as it is when it is opened: from then on the screen goes ahead. */
export const useDemonstration = (id: string) =>
  useQuery({
    queryKey: [...DEMONSTRATIONS, id],
    queryFn: () => openDemonstration(id),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });

export const beginDemonstration = () => dataOf(api.POST("/api/labelling/demonstrations"));

export const demonstrationCalls = (id: string): Calls<DemonstrationView> => ({
  open: () => openDemonstration(id),
  save: (revision, value) =>
    dataOf(api.PUT("/api/labelling/demonstrations/{annotation_id}", { ...one(id), body: { revision, value } })),
  undo: (revision) =>
    dataOf(api.POST("/api/labelling/demonstrations/{annotation_id}/undo", { ...one(id), body: { revision } })),
  submit: (revision, value) =>
    dataOf(api.POST("/api/labelling/demonstrations/{annotation_id}/submit", { ...one(id), body: { revision, value } })),
  skip: (revision, reason) =>
    dataOf(api.POST("/api/labelling/demonstrations/{annotation_id}/skip", { ...one(id), body: { revision, reason } })),
});

/** Something was handed in or left: what is counted and listed has changed. */
export function useWorkChanged(): () => void {
  const client = useQueryClient();
  return () => {
    client.invalidateQueries({ queryKey: [KEY, "totals"] });
    client.invalidateQueries({ queryKey: DEMONSTRATIONS, exact: true });
  };
}

export type Standing = "open" | "accepted" | "rejected";
const REVIEW = [KEY, "review"];

/** Work of trainers that was handed in, by how it stands with the reviewers. */
export const useReviewedWork = (kind: "comparison" | "demonstration", review: Standing) =>
  useInfiniteQuery({
    queryKey: [...REVIEW, kind, review],
    queryFn: ({ pageParam }) =>
      dataOf(
        api.GET("/api/labelling/annotations", {
          params: { query: { kind, review, state: "submitted", limit: 20, ...(pageParam && { before: pageParam }) } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next,
  });

/** What users said, by how it stands with the reviewers. */
export const useReviewedFeedback = (review: Standing) =>
  useInfiniteQuery({
    queryKey: [...REVIEW, "feedback", review],
    queryFn: ({ pageParam }) =>
      dataOf(
        api.GET("/api/feedback", { params: { query: { review, limit: 20, ...(pageParam && { before: pageParam }) } } }),
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next,
  });

export const useQuality = () =>
  useQuery({ queryKey: [...REVIEW, "quality"], queryFn: () => dataOf(api.GET("/api/labelling/quality")) });

/** What reviewers do; each resolves once the lists have been loaded again. */
export function useReviewing() {
  const client = useQueryClient();
  const again = () => client.invalidateQueries({ queryKey: REVIEW });
  return {
    reviewWork: async (id: string, body: ReviewDecision) => {
      await api.PUT("/api/labelling/annotations/{annotation_id}/review", { ...one(id), body });
      await again();
    },
    reviewFeedback: async (id: string, body: ReviewDecision) => {
      await api.PUT("/api/feedback/{feedback_id}/review", { params: { path: { feedback_id: id } }, body });
      await again();
    },
    setGold: async (task: string, ranking: number[][] | null) => {
      await api.PUT("/api/labelling/tasks/{task_id}/gold", { params: { path: { task_id: task } }, body: { ranking } });
      await again();
    },
  };
}

/** What somebody is called; who has left is called by the end of the id. */
export function useNames(): (user: string) => string {
  const { data } = useQuery({
    queryKey: [...REVIEW, "people"],
    queryFn: () => dataOf(api.GET("/api/labelling/people")),
  });
  return (user) => data?.[user] ?? `…${user.slice(-5)}`;
}
