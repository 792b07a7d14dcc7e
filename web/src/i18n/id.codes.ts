import type { Codes, Seconds } from "./en.codes";

const soon = (seconds: Seconds) => (seconds ? `dalam ${seconds} detik` : "sebentar lagi");

export const codes: Codes = {
  line_full: (seconds) => `Sangat banyak orang sedang menunggu model. Coba lagi ${soon(seconds)}.`,
  requests_per_minute: (seconds) =>
    `Anda sudah bertanya sesering yang diizinkan dalam satu menit. Coba lagi ${soon(seconds)}.`,
  tokens_per_minute: (seconds) =>
    `Anda sudah memakai token sebanyak yang diizinkan dalam satu menit. Coba lagi ${soon(seconds)}.`,
  tokens_per_day: () => "Jatah token Anda hari ini sudah habis. Pukul 00.00 (UTC) ada yang baru.",
  concurrency: () =>
    "Jawaban Anda yang sedang ditulis sudah sebanyak yang diizinkan. Tunggu satu selesai, atau hentikan satu.",
  request_too_large: () =>
    "Ini memerlukan lebih banyak token daripada jatah Anda per menit. Mulai obrolan baru, atau minta lebih sedikit.",
  too_long: () => "Pesan ini lebih panjang daripada yang bisa dibaca model sekaligus. Persingkatlah.",
  filter_unavailable: () =>
    "Penyaring sedang tidak bisa menilai kata-kata Anda, dan tanpanya tidak ada yang dijawab. Coba lagi sebentar lagi.",
  database_unavailable: () => "Server tidak dapat menghubungi basis datanya. Coba lagi sebentar lagi.",
  same_answers: () => "Model menulis jawaban yang sama setiap kali, jadi tidak ada yang bisa diurutkan. Coba lagi.",
  login_wrong: () => "Nama atau kata sandi salah.",
  password_wrong: () => "Kata sandi salah.",
  password_length: () => "Kata sandi terdiri dari sedikitnya sepuluh karakter.",
  too_many_tries: (seconds) => `Terlalu banyak percobaan. Coba lagi ${soon(seconds)}.`,
  name_taken: () => "Nama ini sudah dipakai orang lain. Pilih yang lain.",
  name_invalid: () =>
    "Nama terdiri dari huruf kecil, angka dan . _ @ + -, paling banyak 64, dan diawali huruf atau angka.",
  invitation_needed: () => "Untuk mendaftar perlu kode undangan.",
  invitation_invalid: () => "Undangan ini tidak ada, sudah dipakai, atau kedaluwarsa. Mintalah yang baru.",
  last_admin: () => "Ini satu-satunya admin. Jadikan orang lain admin dahulu.",
  role_needed: () => "Akun Anda tidak boleh melakukan ini.",
  csrf: () => "Anda masuk lagi di jendela lain. Muat ulang halaman ini.",
};
