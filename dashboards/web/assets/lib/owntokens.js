// Texts about tokens of programs that act for an account, in Chinese and English.
import { addTexts } from './i18n.js';

addTexts({
  'own.title': ['我的令牌', 'My tokens'],
  'own.text': ['脚本用令牌以你的名义调用接口：只有所选的一个角色和范围，可管理组织、主机、台账，不能动账号、密码、令牌、双人操作和审计。所做的一切记在你名下。修改密码、收回角色、停用账号，令牌随即作废。', 'A script uses the interface in your name by its token: under the one role and place chosen, for sites, hosts and the register; never for accounts, passwords, tokens, acts of two or the audit log. What it does is written down as yours. A new password, the role taken away or the account disabled makes it void.'],
  'own.name': ['用途', 'What for'],
  'own.name.like': ['台账同步', 'Register sync'],
  'own.site': ['限于', 'Only at'],
  'own.site.all': ['角色的全部范围', 'All that the role reaches'],
  'own.days': ['有效期', 'Valid for'],
  'own.days.n': ['{n} 天', '{n} d'],
  'own.password': ['我的密码', 'My password'],
  'own.submit': ['生成令牌', 'Make a token'],
  'own.until': ['有效至', 'Until'],
  'own.revoke': ['作废', 'Withdraw'],
  'own.once': ['令牌只显示这一次', 'Shown only now'],
  'own.once.text': ['存进只有脚本能读的文件，每个请求都带上第二行。', 'Keep it in a file that only the script reads, and send the second line with every request.'],
  'own.kept': ['我已保存', 'I have kept it'],
  'own.state.valid': ['有效', 'Valid'],
  'own.state.expired': ['已过期', 'Over'],
  'own.state.revoked': ['已作废', 'Withdrawn'],
  'own.state.void': ['角色不在此处', 'Role not held there'],
});
