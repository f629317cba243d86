/** One session in the edge node's `/sessions`. */
export interface EdgeSession {
  session: string;
  state: string;
  container: string | null;
  container_pid: number | null;
  worker_pid: number | null;
  worker: {
    committed: number;
    encoded: number;
    dropped: Record<string, number>;
    in_flight: number;
    repeated: number;
    injected: Record<string, number>;
    audio_packets: number;
    audio_underrun_ms: number;
    encoder: string;
    display: { width: number; height: number; hz: number } | null;
  } | null;
  transport: {
    video_in: number;
    video_sent: number;
    video_dropped: Record<string, number>;
    audio_in: number;
    audio_sent: number;
    packets_sent: number;
    bytes_sent: number;
    nacks: number;
    retransmits: number;
    plis: number;
    input_packets: number;
    input_rejected: number;
    attachments: number;
  } | null;
}
