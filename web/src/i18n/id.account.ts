import type { Words } from "./en";

export const account: Words["account"] = {
  title: "Akun Anda",
  titleWithout: "Program dan pemakaian",

  keys: {
    title: "Kunci API",
    address: "Program yang memakai API OpenAI dapat menghubungi layanan ini di",
    noneNeeded:
      "Di sini tidak ada akun, jadi kunci tidak diperlukan: isi dengan teks apa saja bila program memintanya.",
    none: "Belum ada kunci. Program memerlukannya untuk bertanya atas nama Anda.",
    create: "Buat kunci",
    name: "Nama",
    nameHelp: "Kegunaannya, misalnya “buku catatan”.",
    unnamed: "Kunci tanpa nama",
    created: (day) => `Dibuat ${day}`,
    limitsTitle: "Batas kunci ini",
    limitsHelp: "Kosong berarti tanpa batas. Batas akun Anda tetap berlaku.",
    limits: {
      requests_per_minute: "Permintaan per menit",
      tokens_per_minute: "Token per menit",
      tokens_per_day: "Token per hari",
      concurrency: "Permintaan sekaligus",
    },
    unlimited: "Tanpa batas tersendiri",
    change: "Nama dan batas",
    save: "Simpan",
    revoke: "Cabut",
    revokeTitle: "Cabut kunci ini?",
    revokeText: (name) => `Program yang memakai “${name}” tidak akan dijawab lagi. Ini tidak dapat dibatalkan.`,
    revoked: (count) => `Kunci yang dicabut: ${count}`,
    fresh: "Kunci baru Anda",
    once: "Salin sekarang dan simpan di tempat yang tidak dibaca orang lain. Kunci ini tidak akan ditampilkan lagi.",
    key: "Kunci",
  },

  usage: {
    title: "Pemakaian",
    period: "Rentang waktu",
    days: (count) => `${count} hari terakhir`,
    none: "Belum ada pemakaian dalam rentang ini. Yang ditanyakan Anda dan program Anda akan dihitung di sini.",
    requests: "Permintaan",
    prompt: "Token masuk",
    answer: "Token keluar",
    day: "Hari (UTC)",
    by: "Kunci dan model",
    withoutKey: "Tanpa kunci",
    chart: (all, most, day) =>
      `Token per hari: seluruhnya ${all}, terbanyak pada ${day}, yaitu ${most}. Selengkapnya ada di tabel.`,
    all: (count) => `Tampilkan semua ${count} baris`,
    everybody: "Pemakaian semua orang",
    person: "Orang dan model",
    lastDay: "Terakhir (UTC)",
  },

  person: {
    title: "Anda dan data Anda",
    changePassword: "Ganti kata sandi",
    oldPassword: "Kata sandi lama",
    newPassword: "Kata sandi baru",
    atLeast: (count) => `Paling sedikit ${count} karakter. Semua peramban lain akan dikeluarkan.`,
    passwordChanged: "Kata sandi sudah diganti. Semua peramban lain sudah dikeluarkan.",
    passwordWrong: "kata sandi salah",
    export: "Unduh data Anda",
    exportHelp: "Unduhan berisi semua yang tersimpan tentang Anda dalam satu berkas JSON.",
    delete: "Hapus akun",
    deleteTitle: "Hapus akun Anda?",
    deleteText:
      "Percakapan, kunci, catatan pemakaian, serta semua penilaian dan tulisan Anda untuk pelatihan ikut terhapus, seketika dan selamanya.",
    proof: "Kata sandi Anda",
    deleteForever: "Hapus selamanya",
  },
};
