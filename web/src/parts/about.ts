import { useQuery } from "@tanstack/react-query";
import { api, dataOf } from "@/api/client";

/** What the service says of itself and its model. */
export const useAbout = () =>
  useQuery({
    queryKey: ["about"],
    queryFn: () => dataOf(api.GET("/api/about")),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** What the model answered when it was measured. */
export const useSamples = () =>
  useQuery({
    queryKey: ["samples"],
    queryFn: () => dataOf(api.GET("/api/about/samples")),
    staleTime: Number.POSITIVE_INFINITY,
  });
